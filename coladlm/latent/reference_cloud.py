"""The reference cloud: clean latents of words, and the maps of them on which the paths of runs are drawn.

It is made of texts by a model: their tokens' posterior means, and the states of runs that continue their beginnings,
on which the maps are fitted. `assets/map/` holds the cloud of the bundled model; for another one it is made anew.

    python -m coladlm.latent.reference_cloud            writes the cloud of the bundled model
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..assets import ASSETS
from ..model import ColaDLM
from ..paths import why_unwritable
from ..sampling.events import BlockDone, Step
from .array_files import save_arrays
from .faithfulness import Faithfulness, faithfulness
from .projection import (
    MAX_FITTED,
    PCA_ARRAYS,
    PCAMap,
    ProjectionError,
    UMAPMap,
    UMAPSettings,
    fit_pca,
    fit_umap,
    umap_arrays,
    umap_of,
)

FOLDER = ASSETS / "map"
SENTENCES = FOLDER / "sentences.txt"
SHIPPED = FOLDER / "cloud.npz"
VERSION = 1

WORDS = 1500  # of the cloud
SAME_WORD = 8  # at most so many points of one token, so that the cloud is not made of commas
RUNS, NEW_TOKENS = 12, 64  # runs whose states the maps are fitted on, and how long each is
HELD_OUT = 60  # paths that no map is fitted on, for the honest numbers
ENCODED_AT_ONCE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a model says of texts. token_ids: (n,), latents: (n, d), scaled posterior means of single places. states:
    (S + 1, m, d), of places from noise to their finished latents; clean: the same of their clean estimates. The last
    `HELD_OUT` of each are for measuring.
    """

    fingerprint: str
    token_ids: NDArray[np.int32]
    latents: NDArray[np.float32]
    states: NDArray[np.float32]
    clean: NDArray[np.float32]

    def fitted_on(self) -> NDArray[np.float32]:
        """The points that maps are fitted on, at most MAX_FITTED: the words, then as many states as clean estimates."""
        steps, places, channels = self.states.shape
        count = min(places - self._held_out, (MAX_FITTED - len(self.latents)) // (2 * steps))
        paths = (part[:, :count].reshape(-1, channels) for part in (self.states, self.clean))
        return np.concatenate((self.latents, *paths))

    def numbers(self, name: str, chart: PCAMap | UMAPMap) -> dict[str, Faithfulness]:
        """How far a map can be believed, of states under its name, of clean estimates under "<name>.clean"."""
        kinds = {name: self.states, f"{name}.clean": self.clean}
        return {key: faithfulness(chart, paths[:, -self._held_out :], self.latents) for key, paths in kinds.items()}

    @property
    def _held_out(self) -> int:
        return min(HELD_OUT, self.states.shape[1] // 2)


@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceCloud:
    """Words with their latents, and maps of the space they lie in.

    pca: its three first components; in two dimensions, the first two of them. umaps: by dimensions, 2 and 3, once they
    are fitted. numbers: how far each map can be believed, by "pca2", "pca3", "umap2", "umap3" for the states of paths
    that it was not fitted on, and by "pca2.clean", ... for their clean estimates.
    """

    fingerprint: str
    token_ids: NDArray[np.int32]
    latents: NDArray[np.float32]
    pca: PCAMap
    umaps: dict[int, UMAPMap]
    numbers: dict[str, Faithfulness]

    def save(self, file: Path) -> None:
        """Writes an .npz file, whole or not at all. Raises OSError."""
        about = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "numbers": {name: dataclasses.asdict(found) for name, found in self.numbers.items()},
        }
        arrays: dict[str, Any] = {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            "token_ids": self.token_ids,
            "latents": self.latents.astype(np.float16),
            **{f"pca.{name}": getattr(self.pca, name) for name in PCA_ARRAYS},
        }
        for dimensions, fitted in self.umaps.items():
            stored = {**umap_arrays(fitted), "states": fitted.states.astype(np.float16)}
            arrays |= {f"umap{dimensions}.{name}": array for name, array in stored.items()}
        save_arrays(file, arrays)

    @classmethod
    def load(cls, file: Path) -> ReferenceCloud:
        """Reads what `save` wrote. Raises ProjectionError for anything else."""
        try:
            with np.load(file, allow_pickle=False) as opened:
                arrays = {name: opened[name] for name in opened.files}
            about = json.loads(bytes(arrays["about"]))
            if about["version"] != VERSION:
                raise ProjectionError(f"{file.name} is of version {about['version']}, expected {VERSION}")
            umaps = {}
            for dimensions in (2, 3):
                prefix = f"umap{dimensions}."
                stored = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
                if stored:
                    umaps[dimensions] = umap_of(stored)
            pca = PCAMap(*(arrays[f"pca.{name}"] for name in PCA_ARRAYS))
            numbers = {name: Faithfulness(**found) for name, found in about["numbers"].items()}
            return cls(about["fingerprint"], arrays["token_ids"], arrays["latents"].astype(np.float32), pca, umaps,
                       numbers)  # fmt: skip
        except ProjectionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ProjectionError(f"{file.name} is no reference cloud or a damaged one ({error})") from error


@dataclasses.dataclass(frozen=True)
class CloudProgress:
    """How far the making of a cloud is. share: in [0, 1]. cloud: what can be used already, better in the last one."""

    share: float
    message: str
    cloud: ReferenceCloud | None = None


def load_sentences(file: Path = SENTENCES) -> list[str]:
    """The texts that ship with the app, a line each."""
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def make_cloud(model: ColaDLM, texts: Sequence[str], cache: Path | None = None) -> Iterator[CloudProgress]:
    """Surveys texts with a model and fits the maps: PCA as soon as the survey is done, then UMAP in 2 and 3 dimensions.

    The survey runs the model here, a few seconds for the bundled one; the fits run in processes of their own.
    """
    survey = None
    for share, message, found in surveyed(model, texts):
        survey = found
        yield CloudProgress(0.4 * share, message)
    assert survey is not None  # the last one brings it
    cloud = with_pca(survey)
    yield CloudProgress(0.4, "PCA is ready", cloud)
    for index, dimensions in enumerate((2, 3)):
        for progress in fit_umap(survey.fitted_on(), UMAPSettings(dimensions), model.fingerprint, cache):
            message = f"UMAP in {dimensions} dimensions: {progress.message}"
            if progress.result is not None:
                cloud = with_umap(cloud, survey, progress.result)
            yield CloudProgress(0.4 + 0.3 * (index + progress.share), message, cloud if progress.result else None)


def surveyed(model: ColaDLM, texts: Sequence[str]) -> Iterator[tuple[float, str, Survey | None]]:
    """(share done, what is done, the survey in the last one)."""
    ids: list[NDArray[np.int64]] = []
    latents: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        yield 0.3 * start / len(texts), "encoding texts", None
        for text in model.encode_texts(texts[start : start + ENCODED_AT_ONCE]):
            ids.append(text.padded_ids.numpy()[:: model.patch_size])  # a latent is named by its first token
            latents.append(text.latents.numpy())
    kept = _varied(np.concatenate(ids))
    walked = None
    for share, found in _walked(model, texts):
        walked = found
        yield 0.3 + 0.7 * share, "running the model", None
    assert walked is not None  # the last one brings them
    words = np.concatenate(ids)[kept].astype(np.int32), np.concatenate(latents)[kept]
    yield 1.0, "surveyed", Survey(model.fingerprint, *words, *walked)


def with_pca(survey: Survey) -> ReferenceCloud:
    """The cloud of a survey with its PCA alone."""
    pca, numbers = fit_pca(survey.fitted_on(), 3), {}
    for k in (2, 3):
        numbers |= survey.numbers(f"pca{k}", first_components(pca, k))
    return ReferenceCloud(survey.fingerprint, survey.token_ids, survey.latents, pca, {}, numbers)


def with_umap(cloud: ReferenceCloud, survey: Survey, fitted: UMAPMap) -> ReferenceCloud:
    """The cloud with one more map."""
    numbers = cloud.numbers | survey.numbers(f"umap{fitted.dimensions}", fitted)
    return dataclasses.replace(cloud, umaps={**cloud.umaps, fitted.dimensions: fitted}, numbers=numbers)


def first_components(pca: PCAMap, count: int) -> PCAMap:
    """The same PCA with fewer components."""
    return PCAMap(pca.mean, pca.components[:count], pca.explained[:count])


def _varied(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which places to keep: at most SAME_WORD of a token, rarer tokens first where there are too many, in order."""
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    occurrence = np.arange(len(ids)) - np.searchsorted(ranked, ranked)  # 0 for the first of its token, ...
    kept = order[occurrence < SAME_WORD]
    occurrence = occurrence[occurrence < SAME_WORD]
    return np.sort(kept[np.argsort(occurrence, kind="stable")][:WORDS])


def _walked(
    model: ColaDLM, texts: Sequence[str]
) -> Iterator[tuple[float, tuple[NDArray[np.float32], NDArray[np.float32]] | None]]:
    """Runs the model on the beginnings of texts: (share done, states and clean estimates in the last one).

    Each (S + 1, m, d), of all places that were free, in mixed order.
    """
    beginnings = [" ".join(text.split()[:8]) for text in texts[: RUNS * 7 : 7]]
    settings = dataclasses.replace(model.defaults, max_new_tokens=NEW_TOKENS, stop_at_end=False)
    blocks = -(-NEW_TOKENS // (model.block_size * model.patch_size)) + 1
    states: list[NDArray[np.float32]] = []
    clean: list[NDArray[np.float32]] = []
    finished: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    free = None
    for event in model.sample(beginnings, settings):
        if isinstance(event, Step):
            states.append(event.z.float().cpu().numpy())
            clean.append(event.clean.float().cpu().numpy())
            free = ((event.start > 0).cpu() & event.active[:, None]).numpy()
            yield (event.block + event.index / event.steps) / blocks, None
        elif isinstance(event, BlockDone):
            end = event.latents.float().cpu().numpy()
            finished.append((np.stack((*states, end))[:, free], np.stack((*clean, end))[:, free]))
            states, clean = [], []
    both = [np.concatenate(parts, axis=1) for parts in zip(*finished, strict=True)]
    order = np.random.default_rng(0).permutation(both[0].shape[1])
    yield 1.0, (both[0][:, order], both[1][:, order])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m coladlm.latent.reference_cloud",
        description="Makes the reference cloud of a model: words with their latents, and maps by PCA and UMAP.",
    )
    parser.add_argument("--checkpoint", help="folder or Hub repository id; the bundled model if absent")
    parser.add_argument("--texts", type=Path, default=SENTENCES, help="a text a line (default: those that ship)")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file to write (default: the one that ships)")
    args = parser.parse_args(argv)
    if (refusal := why_unwritable(args.out.parent)) is not None:
        parser.error(f"{args.out} cannot be written ({refusal})")
    cloud = None
    for progress in make_cloud(ColaDLM.from_pretrained(args.checkpoint), load_sentences(args.texts)):
        print(f"{progress.share:4.0%}  {progress.message}", file=sys.stderr)
        cloud = progress.cloud or cloud
    assert cloud is not None  # the last progress brings it
    cloud.save(args.out)
    print(f"{args.out}: {len(cloud.latents):,} words, {args.out.stat().st_size:,} bytes")
    for name, found in cloud.numbers.items():
        print(f"{name:12}", {key: value and round(value, 3) for key, value in vars(found).items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
