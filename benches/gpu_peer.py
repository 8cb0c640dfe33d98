"""Times training steps of PyTorch for `gpu.py`, in a process of its own, and prints a JSON object a batch.

The batch lies on the device before the clock starts; a step ends with its loss on the host. `row_ms` is
a step where many follow each other and only the last is waited for. `cellwright profile` also makes each
batch, on the device, of images that lie there. bf16 is autocast around the forward pass and the loss.
"""

import argparse
import json
import statistics
import time

import torch

import peer

# PyTorch's steps before the clock starts: its libraries choose their algorithms in the first.
WARM_UP = 10


def times(args, graph, batch):
    """Milliseconds of steps and of evaluations, and the most memory on the GPU."""
    tf32 = args.precision != "fp32"
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    kind = args.device.partition(":")[0]
    cuda = kind == "cuda"
    wait = torch.cuda.synchronize if cuda else lambda: None
    torch.manual_seed(0)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    model = peer.build(graph, torch).to(args.device)
    forward = torch.compile(model, mode="max-autotune") if args.compiled else model
    shape = graph["input"]
    images = torch.randn(batch, shape["channels"], shape["height"], shape["width"])
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, graph["classes"], (batch,))
    images, labels = images.to(args.device), labels.to(args.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True,
                                weight_decay=5e-4, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy

    def loss_of_batch():
        with torch.autocast(kind, torch.bfloat16, enabled=args.precision == "bf16"):
            return cross_entropy(forward(images), labels)

    def step():
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of_batch()
        loss.backward()
        optimiser.step()
        return loss

    def evaluate():
        with torch.no_grad():
            loss_of_batch().item()

    model.train()
    for _ in range(WARM_UP):
        step().item()
    ms = [peer.timed(lambda: step().item()) for _ in range(args.steps)]
    wait()
    begin = time.perf_counter()
    for _ in range(args.steps):
        step()
    wait()
    row = 1e3 * (time.perf_counter() - begin) / args.steps
    peak = torch.cuda.max_memory_allocated() if cuda else None
    model.eval()
    for _ in range(WARM_UP):
        evaluate()
    evals = [peer.timed(evaluate) for _ in range(args.steps)]
    return {"n": len(ms), "median_ms": statistics.median(ms), "ms": ms, "row_ms": row,
            "evaluate_ms": statistics.median(evals), "peak_bytes": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=argparse.FileType(), help="what `cellwright inspect --graph` prints")
    parser.add_argument("--batches", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="tf32")
    parser.add_argument("--compiled", action="store_true", help="torch.compile with max-autotune")
    args = parser.parse_args()
    graph = json.load(args.graph)
    for batch in args.batches:
        print(json.dumps(times(args, graph, batch)), flush=True)


if __name__ == "__main__":
    main()
