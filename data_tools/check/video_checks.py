"""What is wrong with one video, from its header and from the frames that a recipe shows by default."""

from data_tools.check.image_checks import ImageFindings, ImageProblem, digest_of, is_inside
from llm.config.schema import VideoConfig
from llm.errors import ImageError
from llm.formats.conversation import VideoRef
from vlm.vision.video_frames import frame_times
from vlm.vision.videos import read_frames, read_header


def check_video(ref: VideoRef, root: str, decode: bool, digest: bool) -> ImageFindings:
    """Check one video of a record whose image folder is `root`; `decode` reads frames from its beginning to its end.

    Raises ConfigError without PyAV.
    """
    try:
        header = read_header(ref)
        if decode:
            for frame in read_frames(ref, frame_times(header.seconds, VideoConfig())):
                frame.close()
    except ImageError as error:
        found = f"{ref.path}: {error.found}" if ref.path else error.found
        return ImageFindings((ImageProblem(error.code, found, error.advice),))
    problems: tuple[ImageProblem, ...] = ()
    if ref.path and not is_inside(ref.path, root):
        advice = "Copy the video into the folder: on another machine the link leads nowhere"
        problems = (ImageProblem("video-link", f"{ref.path}: a link out of the image folder", advice),)
    return ImageFindings(problems, digest_of(ref) if digest else 0)
