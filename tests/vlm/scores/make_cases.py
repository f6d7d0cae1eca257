"""Write captions.json: values of pycocoevalcap, sacrebleu and rouge-score on random captions, and Stanford's tokens.

    python -m pip install --target /tmp/oracles --no-deps pycocoevalcap==1.2
    python -m pip install --target /tmp/oracles sacrebleu==2.6.0 rouge-score==0.1.2
    PYTHONPATH=/tmp/oracles python -m tests.vlm.scores.make_cases

The packages are 150 MB and need Java, so the tests read their values from the file. `corpora` makes the same captions
from the same seed in every version of Python.
"""

import json
from importlib.metadata import version
from pathlib import Path
from random import Random

FILE = Path(__file__).with_name("captions.json")
CORPORA, CAPTIONS = 100, 10
_NOUNS = ["dog", "cat", "man", "street", "red", "bus", "ball", "plays", "near", "old", "table", "'s", "n't"]
_COMMON = ["a", "the", "of", "on", "with"]

Corpus = list[tuple[str, list[str]]]
"""(answer, references) of each caption, words separated by blanks."""


def corpora() -> list[Corpus]:
    """CORPORA lists of CAPTIONS captions; answers borrow words of their references, and some are empty or long."""
    random = Random(20261130)
    found = []
    for _ in range(CORPORA):
        count = random.randrange(1, 6)
        found.append([_caption(random, count) for _ in range(CAPTIONS)])
    return found


def _caption(random: Random, count: int) -> tuple[str, list[str]]:
    references = [_words(random, random.randrange(1, 15)) for _ in range(count)]
    answer = list(random.choice(references))
    for _ in range(random.randrange(0, 5)):
        place = random.randrange(0, len(answer) + 1)
        if random.random() < 0.5:
            answer.insert(place, random.choice(_NOUNS))
        elif answer:
            answer.pop(min(place, len(answer) - 1))
    return " ".join(answer), [" ".join(reference) for reference in references]


def _words(random: Random, count: int) -> list[str]:
    return [random.choice(_COMMON if random.random() < 0.4 else _NOUNS) for _ in range(count)]


TEXT = """\
A black-and-white dog's bowl, isn't it?
He said "hello" (loudly) and/or left.
Two men can't see the 3,000 people at 3:30 p.m.
It costs $5.50 -- really... cannot go!
A man in a t-shirt; the U.S. flag & a 50% sale.
The sign says 'STOP' on Mr. Smith's car.
They're gonna go and I've wanna see, we'll see it's.
A street-sign with 4x4 trucks, #1 team @ home
Dr. Who's 1950's style 2 1/2 men o'clock
The dogs' toys are on the floor.
"Yes," she said - smiling.
a [red] {blue} e.g. i.e. etc.
A man who's eating.
A COUPLE OF PEOPLE RIDING ON THE BACK OF AN ELEPHANT
Man wearing no. 23 jersey swings the bat
A person in mid-air doing a trick on a skateboard!
There's a woman, a child and their dog... walking
Three sheep standing in the grass near a fence.
A kitchen with a stove, a sink, and a window
The bathroom has a toilet,sink and mirror
A clock that reads 10:25 on the side of a building
two people shaking hands: one is wearing a suit
A stop sign with graffiti that says "don't stop".
A train (with many cars) on the tracks
A half-eaten sandwich on a plate w/ chips
A double-decker bus in London's center
Lots of people; some of them aren't looking
A 3-tiered cake with flowers
Children playing soccer on a field
A man's best friend: his dog
He said no.
"""
SENTENCES = TEXT.splitlines()


def _values() -> dict[str, list[list[float]]]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    class Blanks:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    first = RougeScorer(["rougeL"], tokenizer=Blanks())
    sacre = BLEU(tokenize="none", smooth_method="none", force=True)
    found: dict[str, list[list[float]]] = {"cider": [], "rouge": [], "bleu": [], "corpus_bleu": [], "rouge_score": []}
    sacrebleu: list[float] = []
    for corpus in corpora():
        answers = {number: [answer] for number, (answer, _) in enumerate(corpus)}
        references = {number: given for number, (_, given) in enumerate(corpus)}
        found["cider"].append(_rounded(Cider().compute_score(references, answers)[1]))
        found["rouge"].append(_rounded(Rouge().compute_score(references, answers)[1]))
        of_corpus, of_captions = Bleu(4).compute_score(references, answers, verbose=0)
        found["bleu"].append(_rounded(of_captions[3]))
        found["corpus_bleu"].append(_rounded(of_corpus[3:]))
        found["rouge_score"].append(
            _rounded([first.score(given[0], answer)["rougeL"].fmeasure for answer, given in corpus])
        )
        streams = list(zip(*(given for _, given in corpus), strict=True))
        sacrebleu.append(sacre.corpus_score([answer for answer, _ in corpus], streams).score / 100)
    return found | {"sacrebleu": [_rounded(sacrebleu)]}


def _rounded(values: list[float]) -> list[float]:
    return [round(float(value), 9) for value in values]


def _tokens() -> list[str]:
    """Stanford's tokens of SENTENCES without the punctuation that COCO's evaluation drops, joined by blanks."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({number: [{"caption": text}] for number, text in enumerate(SENTENCES)})
    return [found[number][0] for number in range(len(SENTENCES))]


def main() -> None:
    """Write the file."""
    names = ("pycocoevalcap", "sacrebleu", "rouge-score")
    content = {"versions": {name: version(name) for name in names}, **_values(), "tokens": _tokens()}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in content.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
