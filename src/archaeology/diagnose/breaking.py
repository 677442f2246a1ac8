"""Trainings that stopped by themselves: out of memory, or on an error."""

from collections.abc import Iterator

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks

MEGABYTE = 1e6


@checks.register("out_of_memory")
def out_of_memory(case: Case) -> Iterator[Diagnosis]:
    """The machine had no room for the batch."""
    failure = case.history.failure
    if failure.get("kind") != "out_of_memory":
        return
    names = ("batch_size", "available_bytes", "bytes_per_image", "fixed_bytes", "batch_size_that_fits")
    numbers = {name: failure.get(name) for name in names}
    size, fits = numbers["batch_size"], numbers["batch_size_that_fits"]
    evidence = f"memory ran out at step {failure.get('step')} with a batch of {size} images"
    if numbers["available_bytes"] and numbers["bytes_per_image"]:
        evidence += (
            f": {numbers['available_bytes'] / MEGABYTE:,.0f} MB were there, an image takes "
            f"{numbers['bytes_per_image'] / MEGABYTE:,.2f} MB and the rest "
            f"{(numbers['fixed_bytes'] or 0) / MEGABYTE:,.0f} MB"
        )
    if fits:
        parts = -(-size // fits) if size else 1
        remedy = f"--batch-size {fits} fits; add --accumulate {parts} to step as seldom as before"
    else:
        remedy = "not even one image fits: take a smaller model or image, or --checkpoint-blocks"
    yield Diagnosis(
        "out_of_memory", evidence, f"{remedy}; bfloat16 and --checkpoint-blocks also save memory", numbers
    )


@checks.register("error")
def error(case: Case) -> Iterator[Diagnosis]:
    """It broke in a way that is neither memory nor the loss."""
    failure = case.history.failure
    if failure and failure.get("kind") not in ("non_finite", "out_of_memory"):
        message = failure.get("message", "no message")
        yield Diagnosis(
            "error",
            f"it broke at step {failure.get('step')}: {message}",
            "mend what the message names; the same command then goes on from the last state it saved",
            {"step": failure.get("step"), "message": message},
        )
