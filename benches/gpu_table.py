"""The text of a record of `gpu.py`: tables with n, medians and versions."""


def milliseconds(found):
    return found["missing"] if "missing" in found else f"{found['median_ms']:.3f}"


def ratio(ours, theirs):
    """Of the medians, where there are both."""
    if "missing" in ours or "missing" in theirs:
        return ""
    return f"{ours['median_ms'] / theirs['median_ms']:.2f}"


def table(head, rows):
    lines = [head, ["---"] * len(head)] + rows
    return "".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |\n" for line in lines)


def steps(rows):
    head = ["network", "batch", "n", "eager", "captured", "captured, no cuDNN", "PyTorch", "torch.compile",
            "eager / PyTorch", "captured / torch.compile", "PyTorch in a row", "torch.compile in a row"]

    def line(row):
        found = [row[key] for key in ("eager", "captured", "own", "torch", "compile")]
        eager, captured, _, torch, compiled = found
        counts = sorted({it["n"] for it in found if "n" in it})
        in_a_row = [f"{it['row_ms']:.3f}" if "row_ms" in it else "" for it in (torch, compiled)]
        return [row["network"], row["batch"], "/".join(map(str, counts)), *map(milliseconds, found),
                ratio(eager, torch), ratio(captured, compiled), *in_a_row]

    return table(head, [line(row) for row in rows])


def searches(rows):
    head = ["workers", "batch", "candidates", "failed", "seconds", "an hour", "seconds a candidate", "images",
            "epochs"]

    def line(row):
        if "missing" in row:
            return [row["workers"], row["batch"], row["missing"]] + [""] * 6
        return [row["workers"], row["batch"], row["n"], row["failed"], f"{row['seconds']:.0f}",
                f"{row['an_hour']:.0f}", f"{row['median_candidate_seconds']:.1f}", row["train_images"],
                row["epochs"]]

    return table(head, [line(row) for row in rows])


def readme(record):
    machine, checks = record["machine"], record["checks"]
    checked = checks["missing"] if "missing" in checks else f"{checks['passed']} passed"
    device = machine["device"] or "no GPU"
    versions = [[key, "unknown" if machine[key] is None else machine[key]] for key in machine]
    return f"""# {device}, {machine["date"]}

Written by `just gpu-report`; every step's time is in record.json.

{table(["", ""], versions)}
Checks of the kernels on the GPU against the CPU: {checked}.

## Training steps

Milliseconds, medians of n steps in one process each. A step ends with its loss on the host. Cellwright's
begins with making the batch, on the device, of images that lie there; PyTorch's batch lies there already.
"In a row": mean of n steps with one wait at the end.

{steps(record["steps"])}
## Candidates an hour

The space of a search without flags, without baselines and second trainings. Up to the last candidate that
was done within the time, program start included; one search each.

{searches(record["searches"])}"""
