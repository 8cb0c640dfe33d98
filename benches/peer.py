#!/usr/bin/env python3
"""Times one training step here and in PyTorch, in turn, in one run.

Both train the same network: `cellwright inspect --graph` prints the graph of layers, and `Peer`
below runs that graph in PyTorch (channels-last memory, SGD with Nesterov momentum). `just
bench-peer` makes the virtual environment and starts this.

For each network the rounds alternate: cellwright, PyTorch, torch.compile (with --compile), cellwright
... so that a noisy moment hits all of them. Printed are medians over all steps of all rounds, and the
ratio cellwright / PyTorch of the medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

NETWORKS = {
    "nasnet-a F=8 N=1 28x28x1": ("nasnet-a.toml", ["filters=8", "repeats=1"], "1x28x28"),
    "nasnet-a F=16 N=1 32x32x3": ("nasnet-a.toml", ["filters=16", "repeats=1"], "3x32x32"),
    "nasnet-a F=32 N=2 32x32x3": ("nasnet-a.toml", ["filters=32", "repeats=2"], "3x32x32"),
    "resnet18 32x32x3": ("baselines/resnet18.toml", [], "3x32x32"),
    "vgg16 32x32x3": ("baselines/vgg16-bn.toml", [], "3x32x32"),
}


def call(program, command, network):
    """The command line that does something with a network."""
    file, sets, image = NETWORKS[network]
    line = [program, command, os.path.join("search-spaces", file), "--input", image, "--classes", "10"]
    for item in sets:
        line += ["--set", item]
    return line


def cellwright(program, command, network, *more):
    line = call(program, command, network) + list(more)
    return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def build(graph, torch):
    """The graph as a torch module, NCHW in channels-last memory."""
    nn, F = torch.nn, torch.nn.functional

    def sides(padding, kernel, dilation):
        if padding == "valid":
            return [0, 0, 0, 0]
        if padding == "same":
            total = [d * (k - 1) for k, d in zip(kernel, dilation)]
            return [total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2]
        return padding["explicit"]

    class Peer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict()
            self.pads = {}
            for index, node in enumerate(graph["nodes"]):
                kind, value = describe(node["layer"])
                shape = graph["nodes"][node["inputs"][0]]["shape"] if node["inputs"] else None
                if kind == "conv":
                    pad = sides(value["padding"], value["kernel"], value["dilation"])
                    even = pad[0] == pad[1] and pad[2] == pad[3]
                    if not even:
                        self.pads[index] = (pad[2], pad[3], pad[0], pad[1])
                    self.layers[str(index)] = nn.Conv2d(
                        shape["channels"], value["filters"], value["kernel"], value["stride"],
                        (pad[0], pad[2]) if even else 0, value["dilation"], value["groups"], value["bias"])
                elif kind == "batch_norm":
                    self.layers[str(index)] = nn.BatchNorm2d(
                        shape["channels"], eps=value["epsilon"], momentum=value["momentum"])
                elif kind == "linear":
                    self.layers[str(index)] = nn.Linear(shape["channels"], value["units"], value["bias"])
                elif kind == "dropout":
                    self.layers[str(index)] = nn.Dropout(value["rate"])

        def forward(self, image):
            values = []
            for index, node in enumerate(graph["nodes"]):
                kind, value = describe(node["layer"])
                x = [values[i] for i in node["inputs"]]
                values.append(image if kind == "input" else self.apply_layer(index, kind, value, x))
            return values[graph["output"]].flatten(1)

        def apply_layer(self, index, kind, value, x):
            layer = self.layers[str(index)] if str(index) in self.layers else None
            if kind == "linear":
                return layer(x[0].flatten(1))
            if layer is not None:
                y = F.pad(x[0], self.pads[index]) if index in self.pads else x[0]
                return layer(y)
            if kind == "activation":
                return {"relu": F.relu, "relu6": F.relu6, "swish": F.silu, "sigmoid": torch.sigmoid,
                        "hard_swish": F.hardswish, "hard_sigmoid": F.hardsigmoid}[value](x[0])
            if kind == "pool":
                return self.pool(value, x[0])
            if kind == "global_average_pool":
                return x[0].mean((2, 3), keepdim=True)
            if kind == "add":
                return sum(x[1:], x[0])
            if kind == "mean":
                return sum(x[1:], x[0]) / len(x)
            if kind == "multiply":
                return x[0] * x[1]
            if kind == "concat":
                return torch.cat(x, 1)
            if kind == "subsample":
                stride, offset = value["stride"], value["offset"]
                y = F.pad(x[0], (0, offset, 0, offset))
                return y[:, :, offset::stride, offset::stride]
            if kind == "drop_path":
                if not self.training or value["rate"] == 0:
                    return x[0]
                keep = 1 - value["rate"]
                mask = x[0].new_empty(x[0].shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)
                return x[0] * mask
            if kind == "flatten":
                return x[0].permute(0, 2, 3, 1).flatten(1)
            if kind == "zero":
                return torch.zeros_like(x[0])[:, :, :: value["stride"], :: value["stride"]]
            raise SystemExit(f"the peer does not know the layer {kind}")

        def pool(self, value, x):
            pad = sides(value["padding"], value["kernel"], [1, 1])
            even = pad[0] == pad[1] and pad[2] == pad[3]
            if value["kind"] == "max":
                if not even:
                    x, pad = F.pad(x, (pad[2], pad[3], pad[0], pad[1]), value=float("-inf")), [0] * 4
                return F.max_pool2d(x, value["kernel"], value["stride"], (pad[0], pad[2]))
            if not even:
                raise SystemExit("the peer knows no average pooling with uneven padding")
            return F.avg_pool2d(x, value["kernel"], value["stride"], (pad[0], pad[2]),
                                count_include_pad=False)

    return Peer().to(memory_format=torch.channels_last)


def describe(layer):
    return (layer, None) if isinstance(layer, str) else next(iter(layer.items()))


class Torch:
    """A training step and an inference step in PyTorch."""

    def __init__(self, torch, graph, batch, compiled):
        self.torch = torch
        shape = graph["input"]
        torch.manual_seed(0)
        self.model = build(graph, torch)
        self.run = torch.compile(self.model) if compiled else self.model
        self.x = torch.randn(batch, shape["channels"], shape["height"], shape["width"])
        self.x = self.x.to(memory_format=torch.channels_last)
        self.y = torch.randint(0, graph["classes"], (batch,))
        self.optimiser = torch.optim.SGD(
            self.model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True)

    def step(self):
        self.optimiser.zero_grad(set_to_none=True)
        self.torch.nn.functional.cross_entropy(self.run(self.x), self.y).backward()
        self.optimiser.step()

    def train(self, steps):
        self.model.train()
        return [timed(self.step) for _ in range(steps)]

    def infer(self, steps):
        self.model.eval()
        with self.torch.no_grad():
            return [timed(lambda: self.run(self.x)) for _ in range(steps)]


def timed(work):
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def compare(torch, args, network):
    graph = cellwright(args.program, "inspect", network, "--graph")
    peers = {"PyTorch": Torch(torch, graph, args.batch, False)}
    if args.compile is not None and args.compile in network:
        peers["torch.compile"] = Torch(torch, graph, args.batch, True)
    for peer in peers.values():
        peer.train(3)
        peer.infer(2)
    ours, theirs, evals, their_evals = [], {name: [] for name in peers}, [], {name: [] for name in peers}
    for _ in range(args.rounds):
        report = cellwright(args.program, "profile", network, "--batch", str(args.batch), "--steps",
                            str(args.steps), "--threads", str(args.threads), "--json")
        ours += report["step_ms_all"]
        evals.append(report["evaluate_ms"])
        for name, peer in peers.items():
            theirs[name] += peer.train(args.steps)
            their_evals[name] += peer.infer(args.steps)
    median = statistics.median
    result = {"network": network, "batch": args.batch, "n": len(ours), "cellwright_ms": median(ours),
              "cellwright_evaluate_ms": median(evals), "cellwright_peak_bytes": report["peak_bytes"],
              "evaluation_speedup": median(ours) / median(evals)}
    for name, peer in peers.items():
        result[name + "_ms"] = median(theirs[name])
        result[name + "_evaluate_ms"] = median(their_evals[name])
        result["ratio_" + name] = median(ours) / median(theirs[name])
        result["evaluate_ratio_" + name] = median(evals) / median(their_evals[name])
    return result


def peak(args, network):
    """PyTorch's peak over training steps, in a process of its own: see `measure_peak`."""
    call = [sys.executable, __file__, "--peak", network, "--program", args.program, "--batch",
            str(args.batch), "--threads", str(args.threads)]
    return json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)


def resident(key):
    """A line of /proc/self/status in bytes."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(key + ":"))
    return 1024 * int(line.split()[1])


def measure_peak(torch, args):
    """What `cellwright profile` measures as `peak_bytes`: the most resident memory from before the
    network is built until after some training steps, beyond what was resident then."""
    graph = cellwright(args.program, "inspect", args.peak, "--graph")
    # The libraries' own memory (code, thread pools) belongs to neither: one tiny step loads it.
    tiny = torch.nn.Conv2d(3, 4, 3)
    tiny(torch.randn(1, 3, 8, 8)).sum().backward()
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # The high-water mark begins anew.
    Torch(torch, graph, args.batch, False).train(3 + args.steps)
    return resident("VmHWM") - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/cellwright")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="steps of each in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", nargs="?", const="", metavar="NAME",
                        help="torch.compile too, for networks whose name has NAME in it (all without it)")
    parser.add_argument("--only", help="networks whose name has this in it")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    if args.peak:
        print(json.dumps({"bytes": measure_peak(torch, args)}))
        return
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads; torch "
          f"{torch.__version__}; batch {args.batch}; median of {args.rounds} rounds x {args.steps} steps")
    results = []
    for network in NETWORKS:
        if args.only and args.only not in network:
            continue
        result = compare(torch, args, network)
        result["PyTorch_peak_bytes"] = peak(args, network)["bytes"]
        result["peak_ratio"] = result["cellwright_peak_bytes"] / result["PyTorch_peak_bytes"]
        results.append(result)
        print(json.dumps(result, indent=1), flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"torch": torch.__version__, "threads": args.threads, "machine": platform.platform(),
                       "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
