// Images that are dropped on the Train page become one zip file. It is loaded before train.js, whose functions it uses.
'use strict';

const MOST_IMAGES = 65534, MOST_BYTES = 2 ** 32 - 2 ** 28;  // of a zip file without its 64-bit form
const NAMES_ARE_UTF8 = 0x800, VERSION = 20, FIRST_DAY = 0x21;
const dropped = new Map();  // the images of the archive by name, as long as the page is open

const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
  return crc;
});

async function crcOf(file) {
  let crc = ~0;
  for (const reader = file.stream().getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return ~crc >>> 0;
    for (const byte of value) crc = CRCS[(crc ^ byte) & 255] ^ crc >>> 8;
  }
}

// Numbers of so many bytes, the lowest first.
function packed(...numbers) {
  return Uint8Array.from(numbers.flatMap(([size, number]) =>
    Array.from({ length: size }, (_, place) => Math.floor(number / 256 ** place) % 256)));
}

// A zip file of images as they are: PKWARE's APPNOTE.TXT, 4.3. The browser reads them while it sends them.
async function zipOf(name, files) {
  const parts = [], central = [];
  let at = 0;
  for (const file of files) {
    const title = new TextEncoder().encode(file.name);
    const shared = [[2, VERSION], [2, NAMES_ARE_UTF8], [2, 0], [2, 0], [2, FIRST_DAY], [4, await crcOf(file)],
      [4, file.size], [4, file.size], [2, title.length], [2, 0]];
    const local = packed([4, 0x04034b50], ...shared);
    central.push(packed([4, 0x02014b50], [2, VERSION], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), title);
    parts.push(local, title, file);
    at += local.length + title.length + file.size;
  }
  const size = central.reduce((sum, part) => sum + part.length, 0);
  const end = packed([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, at], [2, 0]);
  return new File([...parts, ...central, end], name, { type: 'application/zip' });
}

// Files that are images, and the others.
function imagesAmong(input, files) {
  const suffixes = input.dataset.images.split(',');
  const isImage = file => suffixes.some(one => file.name.toLowerCase().endsWith(one));
  return [files.filter(isImage), files.filter(file => !isImage(file))];
}

// One archive of these images and of those that were dropped before. Resolves to why it was refused, or to nothing.
async function uploadImages(form, input, images, status) {
  const { packing, packedInto, instead, lacking, tooMany } = input.dataset;
  const all = new Map([...dropped, ...images.map(image => [image.name, image])]);
  const bytes = [...all.values()].reduce((sum, image) => sum + image.size, 0);
  if (all.size > MOST_IMAGES || bytes > MOST_BYTES) return tooMany;
  [status.textContent, status.hidden] = [packing.replace('{}', all.size), false];
  const archive = await zipOf('images.zip', [...all.values()]);
  const before = form.elements.images.value && !dropped.size ? form.elements.images.selectedOptions[0].textContent : '';
  const problem = tooLarge(input, archive) || await upload(form, input, archive, status);
  if (problem) return problem;
  for (const [name, image] of all) dropped.set(name, image);
  const said = [packedInto.replace('{}', all.size)];
  if (before) said.push(instead.replace('{}', () => before));
  if (!form.elements.file) said.push(lacking);
  status.textContent = said.join(' ');
  return '';
}
