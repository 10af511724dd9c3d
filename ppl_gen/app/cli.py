"""The command line: list, train, sample, evaluate, gradients, tour.

``python -m ppl_gen train beta_vae --beta 4 --data mnist --epochs 2 --out run/`` trains a model and
leaves in ``run/`` its weights, a checkpoint, the history and pictures; ``sample run/`` and
``evaluate run/`` use them. A run that was interrupted or killed goes on with ``--resume``; until
then its checkpoint is sampled and evaluated. Errors go to standard error with exit status 2; an
interrupted command exits with 130.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from graphs.language.suggestions import did_you_mean
from ppl_gen import __version__

Command = Callable[[argparse.Namespace], None]
# Options that are left to the data or the other options, None by default.
BY_DATA = ("num_classes", "hidden", "sample_steps")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(training="train" in argv[:1]).parse_args(argv)
    command: Command = arguments.command
    try:
        command(arguments)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"ppl-gen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; go on with --resume" if "train" in argv[:1] else ""
        print(f"ppl-gen: interrupted{hint}", file=sys.stderr)
        return 130
    return 0


def _parser(training: bool) -> argparse.ArgumentParser:
    """The parser; the models and their options are part of it only when one is to be trained."""
    parser = _Parser(prog="ppl-gen", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--version", action="version", version=f"ppl-gen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    add("list", _list, "Name every model, its paper and its options.")

    train = add("train", _train, "Train a named model; `train MODEL --help` lists its options.")
    if training:
        _add_models(train)

    sample = add("sample", _sample, "Draw images from a trained model.")
    sample.add_argument("run", type=Path, help="a folder `train` wrote, or a model file")
    sample.add_argument("-n", type=int, default=64)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--out", type=Path, help="a PNG; RUN/samples.png by default")
    told = sample.add_argument_group("what conditional models are told, each in turn by default")
    told.add_argument("--label", nargs="+", help="numbers or names of classes, taken in turn")
    told.add_argument("--caption", nargs="+", help="texts such as 'a thick seven', taken in turn")
    own = sample.add_argument_group("options of diffusions")
    own.add_argument("--steps", type=int, help="from noise to data")
    own.add_argument("--sampler", help="ancestral, ddim, euler, heun, langevin, …")
    own.add_argument("--guidance", type=float, help="0 ignores labels, 1 follows, more sharpens")

    evaluate = add("evaluate", _evaluate, "Evaluate a trained model on held-out data.")
    evaluate.add_argument("run", type=Path, help="a folder `train` wrote, or a model file")
    _data_options(evaluate, default=None)
    evaluate.add_argument("--num-samples", type=int, default=100, help="importance samples")
    evaluate.add_argument("--images", type=int, help="use only the first N images")
    evaluate.add_argument(
        "--json", action="store_true", help="print one JSON object, null for infinity"
    )

    gradients = add("gradients", _gradients, "Compare gradient estimators on one problem.")
    gradients.add_argument(
        "problem", help="bernoulli_quadratic, normal_cost, or a folder `train` wrote"
    )
    gradients.add_argument("--target", type=float, default=0.45, help="of bernoulli_quadratic")
    gradients.add_argument("--probability", type=float, default=0.5, help="of bernoulli_quadratic")
    gradients.add_argument("--cost", default="square", help="of normal_cost: square, exp or cos")
    gradients.add_argument("--k", type=float, default=3.0, help="of normal_cost")
    gradients.add_argument("--wrt", default="loc", help="of normal_cost: loc or scale")
    gradients.add_argument("--images", type=int, default=16, help="test images for a trained model")
    gradients.add_argument("--estimators", help="names separated by commas; all by default")
    gradients.add_argument("--draws", type=int, default=1000)
    gradients.add_argument("--seed", type=int, default=0)
    gradients.add_argument("--out", type=Path, help="a PNG of the comparison")

    tour = add("tour", _tour, "The main job on real data in about two minutes, as a page.")
    tour.add_argument("--out", type=Path, default=Path("tour"))
    tour.add_argument("--smoke", action="store_true", help="the smallest run of every step")
    return parser


class _Parser(argparse.ArgumentParser):
    """Names the nearest command, model or option for one that does not exist."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of a command too: what it does not know, its parent, which would be asked, cannot."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message):
            known = re.findall(r"[\w-]+", wrong[2])
            hint = did_you_mean(wrong[1], known)
            self.exit(2, f"{self.prog}: expected one of {', '.join(known)}, got {wrong[1]}{hint}\n")
        if message.startswith("unrecognized arguments: -"):
            wrong_one = message.split()[2]
            message += did_you_mean(wrong_one, re.findall(r"--[\w-]+", self.format_help()))
        super().error(message)


def _add_models(train: argparse.ArgumentParser) -> None:
    """A subcommand for every named model, with the options of training and the model's own."""
    from ppl_gen import zoo

    models = train.add_subparsers(dest="model", required=True, metavar="MODEL")
    for entry in zoo.registry.values():
        text = f"{entry.paper} ({entry.year})"
        sub = models.add_parser(entry.name, help=text, description=text)
        _data_options(sub)
        sub.add_argument(
            "--labels", metavar="COLUMN", help="the column of a CSV file that holds labels"
        )
        if entry.family == "cycle":
            sub.add_argument(
                "--data2",
                default="inverted",
                help="data of the other kind, a source like --data; by default every other image "
                "of --data, inverted",
            )
        sub.add_argument("--epochs", type=int, default=20)
        sub.add_argument("--batch-size", type=int, default=128)
        sub.add_argument("--lr", type=float, help="1e-3, or the model's own, by default")
        sub.add_argument("--seed", type=int, default=0)
        sub.add_argument("--eager", action="store_true", help="do not compile the training step")
        sub.add_argument(
            "--resume", action="store_true", help="continue the run in --out, or start it there"
        )
        sub.add_argument(
            "--override",
            nargs="+",
            default=(),
            metavar="SETTING",
            help="what may differ when resuming: lr, batch_size, clip_norm",
        )
        sub.add_argument("--quiet", action="store_true", help="show no progress")
        sub.add_argument("--out", type=Path, default=Path("run"), help="folder for the results")
        own = sub.add_argument_group("options of the model")
        for name, default in _options(entry).items():
            how: dict[str, Any] = {"type": int if default is None else type(default)}
            if isinstance(default, bool):
                how = {"action": argparse.BooleanOptionalAction}
            shown = "given by the data" if default is None else default
            own.add_argument(_flag(name), default=default, help=f"default {shown}", **how)


def _data_options(parser: argparse.ArgumentParser, default: str | None = "mnist") -> None:
    parser.add_argument(
        "--data",
        default=default,
        help="mnist (embedded), a folder of IDX files or of PNG and JPEG files, in subfolders by "
        "class where there are any, or a CSV file with names of columns in its first line",
    )
    parser.add_argument("--binarize", choices=["static", "dynamic", "threshold"])


def _list(arguments: argparse.Namespace) -> None:
    from ppl_gen import zoo

    for entry in zoo.registry.values():
        print(f"{entry.name:18} {entry.paper} ({entry.year})")
        options = (
            _flag(name) + ("" if value is None else f" {value}")
            for name, value in _options(entry).items()
        )
        print(f"{'':18} {' '.join(options)}")


def _train(arguments: argparse.Namespace) -> None:
    import ppl_gen
    from ppl_gen import _processes as processes
    from ppl_gen import zoo
    from ppl_gen._random import seeded
    from ppl_gen.app import sources

    checkpoint = arguments.out / "checkpoint.pt"
    if checkpoint.exists() and not arguments.resume:
        raise ValueError(
            f"expected a new folder for --out, {arguments.out} holds a run: continue it with "
            "--resume, or choose another"
        )
    if arguments.epochs < 1:
        raise ValueError(f"expected epochs >= 1, got {arguments.epochs}")
    entry = zoo.registry[arguments.model]
    build, defaults = entry.build, _options(entry)
    options = {name: getattr(arguments, name) for name in defaults}
    data = _data(arguments.data, arguments.binarize, labels=arguments.labels)
    if entry.family == "cycle":
        data = sources.unpaired(data, arguments.data2, arguments.binarize)
    options |= sources.told_by(data.train, options, defaults)
    with seeded(arguments.seed):
        model = build(tuple(sources.values(data.train).shape[1:]), **options)
    sources.require_labels(model, data.train)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with processes.process_group() as world:
        if world.writes and not checkpoint.exists():
            _write_settings(arguments)
        history = ppl_gen.fit(
            model,
            sources.given(model, data.train),
            validation=sources.given(model, data.test),
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            lr=arguments.lr,
            seed=arguments.seed,
            staged=False if arguments.eager else "auto",
            progress=not arguments.quiet,
            checkpoint=checkpoint,
            resume=arguments.resume,
            override=[name.replace("-", "_") for name in arguments.override],
        )
    if world.writes:
        _write_run(arguments, model, history, data)


def _write_run(arguments: argparse.Namespace, model: Any, history: Any, data: Any) -> None:
    import ppl_gen
    from ppl_gen import plot
    from ppl_gen.app import sources

    ppl_gen.save(model, arguments.out / "model.pt")
    about = {"data": sources.values(data.train), "history": history}
    card = ppl_gen.card(model, **about, notes=f"Data: {arguments.data}; seed {arguments.seed}.")
    (arguments.out / "README.md").write_text(card, encoding="utf-8")
    table = len(model.data_shape) == 1
    _write_settings(arguments, steps=history.steps)
    history.to_frame().to_csv(arguments.out / "history.csv")
    _figure(arguments.out / "curves.png", history.plot)
    target = arguments.out / ("samples.csv" if table else "samples.png")
    _write_samples(target, model, 64, arguments.seed, data.test)
    if not table and hasattr(model, "reconstruct"):
        examples = sources.first(data.test, 8)
        _figure(
            arguments.out / "reconstructions.png", lambda: plot.reconstructions(model, *examples)
        )
    final = {name: values[-1] for name, values in history.items() if name.startswith("val_")}
    print(", ".join(f"{name.removeprefix('val_')} {value:.2f}" for name, value in final.items()))
    more = "samples.csv" if table else "pictures"
    print(f"wrote {arguments.out}/: model.pt checkpoint.pt history.csv and {more}")


def _write_samples(target: Path, model: Any, n: int, seed: int, test: Any, **how: Any) -> None:
    """Draws of a model; of a cycle the first data and their translations."""
    from ppl_gen import plot
    from ppl_gen.app import sources

    given = sources.values(test)[:n] if model.streams > 1 else None
    if len(model.data_shape) == 1:
        sources.write_rows(target, model, n, seed, given, **how)
    elif given is not None:
        _figure(target, lambda: plot.translations(model, given[:16]))
    else:
        _figure(target, lambda: plot.samples(model, n, seed=seed, **how))


def _data_of(model: Any, settings: dict[str, Any], data: str, binarize: Any) -> Any:
    """The data of a run, of two kinds for a cycle."""
    from ppl_gen.app import sources

    found = _data(data, binarize, model.schema)
    if model.streams > 1:
        found = sources.unpaired(found, settings.get("data2", sources.INVERTED), binarize)
    return found


def _write_settings(arguments: argparse.Namespace, **more: Any) -> None:
    """What a model is evaluated with, and of which step it is once it is written."""
    settings = {"data": arguments.data, "binarize": arguments.binarize, "seed": arguments.seed}
    if hasattr(arguments, "data2"):
        settings["data2"] = arguments.data2
    (arguments.out / "settings.json").write_text(json.dumps(settings | more))


def _sample(arguments: argparse.Namespace) -> None:
    from ppl_gen.app import sources

    model, folder, settings = _trained(arguments.run)
    table, how = len(model.data_shape) == 1, sources.sampling(model, arguments)
    told = sources.told(model, arguments.label, arguments.caption, arguments.n)
    how |= {} if told is None else {"y": told}
    target = arguments.out or folder / ("samples.csv" if table else "samples.png")
    test = None
    if model.streams > 1:
        source = settings.get("data", "mnist")
        test = _data_of(model, settings, source, settings.get("binarize")).test
    _write_samples(target, model, arguments.n, arguments.seed, test, **how)
    print(f"wrote {target}")


def _evaluate(arguments: argparse.Namespace) -> None:
    import ppl_gen
    from ppl_gen import metrics
    from ppl_gen.app import scores, sources

    if arguments.images is not None and arguments.images < 1:
        raise ValueError(f"expected at least one image, got {arguments.images}")
    model, _, settings = _trained(arguments.run)
    data = _data_of(
        model,
        settings,
        arguments.data or settings.get("data", "mnist"),
        arguments.binarize or settings.get("binarize"),
    )
    test = data.test
    if model.streams > 1:
        x, y = (sources.first(part, arguments.images)[0] for part in (test.a, test.b))
        inverted = settings.get("data2", sources.INVERTED) == sources.INVERTED
        _report(scores.of_translations(model, x, y, inverted), arguments.json)
        return
    images, labels = sources.first(test, arguments.images, model)
    if isinstance(model, ppl_gen.VAE):
        found = scores.of_density(model, images, labels, arguments.num_samples)
    elif isinstance(model, ppl_gen.Diffusion):
        found = scores.of_diffusion(model, images, labels, sources.values(data.train))
    else:
        found = scores.of_samples(model, images, labels, sources.values(data.train))
    if len(model.data_shape) == 3:
        found["binarization"] = metrics.binarization(test)
    _report(found, arguments.json)


def _report(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        infinite = (math.inf, -math.inf)  # which JSON cannot express
        print(json.dumps({k: None if v in infinite else v for k, v in found.items()}))
        return
    for name, value in found.items():
        print(f"{name:16} {value:.2f}" if isinstance(value, float) else f"{name:16} {value}")


def _gradients(arguments: argparse.Namespace) -> None:
    from ppl_gen import gradients

    names = arguments.estimators.split(",") if arguments.estimators else None
    comparison = gradients.compare(_problem(arguments), names, arguments.draws, arguments.seed)
    print(comparison)
    if arguments.out:
        _figure(arguments.out, comparison.plot)
        print(f"wrote {arguments.out}")


def _problem(arguments: argparse.Namespace) -> Any:
    from ppl_gen import gradients
    from ppl_gen.app import sources
    from ppl_gen.models.vae import require_vae
    from ppl_gen.posteriors import Bernoulli

    if arguments.problem == "bernoulli_quadratic":
        return gradients.bernoulli_quadratic(arguments.target, arguments.probability)
    if arguments.problem == "normal_cost":
        return gradients.normal_cost(arguments.cost, arguments.k, arguments.wrt)
    if not Path(arguments.problem).exists():
        raise ValueError(
            "expected bernoulli_quadratic, normal_cost or a folder that `train` wrote, got "
            f"{arguments.problem!r}"
        )
    model, _, settings = _trained(Path(arguments.problem))
    require_vae(model)
    test = _data(settings.get("data", "mnist"), settings.get("binarize"), model.schema).test
    discrete = isinstance(model.latents[0].family, Bernoulli)
    problem = gradients.bernoulli_vae if discrete else gradients.gaussian_vae
    return problem(model, sources.first(test, arguments.images)[0])


def _tour(arguments: argparse.Namespace) -> None:
    from ppl_gen.app.tour import run

    run(arguments.out, smoke=arguments.smoke)


def _options(entry: Any) -> dict[str, Any]:
    """The plain keyword options of a constructor and, where it exchanges parts, of its family's."""
    from ppl_gen import zoo
    from ppl_gen.zoo import entries

    parameters = inspect.signature(entry.build).parameters
    found = {
        name: parameter.default
        for name, parameter in parameters.items()
        if isinstance(parameter.default, (bool, int, float, str))
        or (name in BY_DATA and parameter.default is None)
    }
    exchanges = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if exchanges and entry.family in entries.FAMILIES:
        base = _options(zoo.registry[entries.FAMILIES[entry.family]])
        found |= {k: v for k, v in base.items() if k not in (*found, *entry.fixed)}
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _data(source: str, binarize: Any, schema: Any = None, labels: str | None = None) -> Any:
    from ppl_gen.app import sources

    return sources.named(source, binarize, schema, labels)


def _trained(run: Path) -> tuple[Any, Path, dict[str, Any]]:
    """The model, the folder and the settings of a training run, however it ended."""
    import ppl_gen
    from ppl_gen.zoo import saving

    folder = run if run.is_dir() else run.parent
    file = saving.newest(run) if run.is_dir() else run
    model = ppl_gen.load(file)
    stored = folder / "settings.json"
    settings = json.loads(stored.read_text()) if stored.is_file() else {}
    step, last = saving.step(file), saving.step(folder / "checkpoint.pt")
    ended = settings.get("steps", math.inf)
    if step is not None:
        print(f"ppl-gen: using the weights of step {step} in {file}", file=sys.stderr)
    elif run.is_dir() and last is not None and last > ended:
        print(
            f"ppl-gen: using {file} of step {ended}, though {folder / 'checkpoint.pt'} has come to "
            f"step {last}: finish with --resume, or name the checkpoint",
            file=sys.stderr,
        )
    return model, folder, settings


def _figure(path: Path, draw: Callable[[], Any]) -> None:
    import matplotlib.pyplot as plt

    figure = draw().figure
    figure.savefig(path, dpi=110)
    plt.close(figure)
