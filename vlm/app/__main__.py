"""Entry point of the command `eyegraft`, and of `python -m vlm.app`."""

from vlm.app.installation import refuse_other_llm


def main() -> None:
    """Check which package `llm` is, then run the command."""
    refuse_other_llm()
    from vlm.app.cli import main  # not before: it imports from our own `llm`

    main()


if __name__ == "__main__":
    main()
