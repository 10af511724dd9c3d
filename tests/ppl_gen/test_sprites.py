"""The sprite grid against polygons, against genuine dSprites frames, and against its own file."""

import io
import itertools
import math
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from torch.utils.data import DataLoader

from ppl_gen import data

SIZES = (3, 6, 40, 32, 32)
HEART, UPRIGHT = 2, 0


@pytest.fixture(scope="module")
def grid():
    return data.sprites()


def random_rows(count, seed=0):
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in SIZES], axis=1)


# Geometry


def outline(row, size):
    """The outline of a sprite in pixels, from the parametric curves: an independent drawing."""
    shape, scale, orientation, column, line = row
    t = np.linspace(0, 2 * np.pi, 4001)
    x, y = [
        (np.array([-1, 1, 1, -1, -1]), np.array([-1, -1, 1, 1, -1])),
        (1.33 * np.cos(t), 0.751 * np.sin(t)),
        (
            np.sin(t) ** 3,
            0.15 + (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5,
        ),
    ][shape]
    angle = 2 * np.pi * orientation / 39
    points = (x + 1j * y) * np.exp(1j * angle) * 0.15 * size * (0.5 + 0.1 * scale)
    centre = [size / 4 + size / 2 * k / 31 for k in (column, line)]
    return Polygon(np.stack([centre[0] + points.real, centre[1] - points.imag], axis=1))


@settings(deadline=None, derandomize=True, max_examples=120)
@given(st.tuples(*(st.integers(0, size - 1) for size in SIZES)), st.sampled_from([64, 32, 17, 100]))
def test_pixels_are_on_where_their_centre_is_inside_the_outline(row, size):
    image = data.sprites(size).images([row])[0, 0].numpy()
    y, x = np.mgrid[:size, :size] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    path = outline(row, size)
    wider, narrower = (path.contains_points(centres, radius=by) for by in (1e-3, -1e-3))
    clear = wider == narrower
    assert np.array_equal(image.ravel()[clear] == 1, wider[clear])
    assert (~clear).mean() < 0.02


def test_areas_and_centres(grid):
    rows = random_rows(300)
    images = grid.images(rows)[:, 0].double().numpy()
    scale = 0.5 + 0.1 * rows[:, 1]
    # Half side 9.6 px; the ellipse's half axes; the heart's area by Green's theorem on its curve.
    x, y = np.moveaxis(outline((HEART, 5, 0, 0, 0), 64).vertices, 1, 0)
    heart = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
    areas = np.array([19.2**2, math.pi * 1.33 * 0.751 * 9.6**2, heart])[rows[:, 0]] * scale**2
    np.testing.assert_allclose(images.sum((1, 2)), areas, atol=14)
    assert abs((images.sum((1, 2)) - areas).mean()) < 1
    symmetric = rows[:, 0] != HEART
    mass = images.sum((1, 2))
    for axis, column in ((1, 3), (2, 4)):
        centroid = (images.sum(axis) @ (np.arange(64) + 0.5)) / mass
        expected = 16 + 32 * rows[:, column] / 31
        assert np.abs(centroid - expected)[symmetric].max() < 0.35
        assert np.abs(centroid - expected)[~symmetric].max() < 2.3


def test_pos_x_moves_along_columns_and_pos_y_along_rows(grid):
    start, right, down = grid.images([[0, 5, 0, 0, 0], [0, 5, 0, 31, 0], [0, 5, 0, 0, 31]])[:, 0]
    assert start[6:26, 6:26].all()
    assert start.sum() == 400
    assert torch.equal(right, start.roll(32, 1))
    assert torch.equal(down, start.roll(32, 0))


def test_a_heart_points_down_and_turns_anticlockwise(grid):
    heart = grid.images([[HEART, 5, UPRIGHT, 0, 0], [HEART, 5, 10, 0, 0]])[:, 0]
    widths = heart[0].sum(1)[heart[0].any(1)]
    assert widths[-1] <= 2
    assert widths[: len(widths) // 2].max() == 20
    tips = heart[1].sum(0)[heart[1].any(0)]
    assert tips[-1] <= 2
    assert torch.equal(heart[0, :, :32], heart[0, :, :32].flip(1))


def test_the_last_orientation_repeats_the_first(grid):
    rows = random_rows(200)
    first, last = rows.copy(), rows.copy()
    first[:, 2], last[:, 2] = 0, 39
    assert torch.equal(grid.images(first), grid.images(last))


@pytest.mark.parametrize("size", [32, 128])
def test_other_sizes_show_the_same_scene(grid, size):
    rows = random_rows(200)
    fine, coarse = sorted((size, 64), reverse=True)
    averaged = torch.nn.functional.avg_pool2d(data.sprites(fine).images(rows), 2)
    drawn = data.sprites(coarse).images(rows)
    settled = (averaged == 0) | (averaged == 1)
    # A block with all four finer centres inside may still miss the outline's tip, but rarely.
    assert (drawn[settled] == averaged[settled]).float().mean() > 0.9999
    assert ((drawn - averaged).abs()[~settled] <= 0.75).all()


def test_drawing_many_equals_drawing_each(grid):
    rows = random_rows(700)
    together = grid.images(rows)
    alone = torch.cat([grid.images(rows[k : k + 1]) for k in range(0, 700, 7)])
    assert torch.equal(together[::7], alone)
    assert together.shape == (700, 1, 64, 64)
    assert together.dtype == torch.float32
    assert set(together.unique().tolist()) == {0, 1}
    assert grid.images(torch.zeros((0, 5), dtype=torch.int64)).shape == (0, 1, 64, 64)


# Genuine images


def overlap(frame, images):
    """Intersection over union of a frame (64, 64) with each of images (B, 64, 64)."""
    both, either = (frame * images).sum((1, 2)), torch.maximum(frame, images).sum((1, 2))
    return both / either


def moments(images):
    """Areas (B,) and centroids (B, 2), x before y, in pixels."""
    area = images.sum((1, 2))
    along = torch.arange(64) + 0.5
    return area, torch.stack([images.sum(1) @ along, images.sum(2) @ along], 1) / area[:, None]


def nearest_members(frames, grid):
    """Overlap and classes of the best grid member found for each frame.

    First the members of like area at the position that matches the centroids, then the
    neighbouring positions of the best few: a lower bound on the best of the whole grid.
    """
    kinds = torch.cartesian_prod(*(torch.arange(size) for size in SIZES[:3]))
    centred = torch.cat([kinds, torch.full((len(kinds), 2), 16)], dim=1)
    areas, centroids = moments(grid.images(centred)[:, 0])
    drift = centroids - (16 + 32 * 16 / 31)
    steps = torch.cartesian_prod(*[torch.arange(-1, 2)] * 2)
    found = []
    for frame in frames:
        area, centroid = moments(frame[None])
        like = ((areas / area - 1).abs() < 0.25).nonzero().flatten()
        position = ((centroid - drift[like] - 16) * 31 / 32).round().long().clamp(0, 31)
        rows = torch.cat([kinds[like], position], dim=1)
        best = rows[overlap(frame, grid.images(rows)[:, 0]).topk(6).indices]
        around = best[:, None, 3:] + steps
        rows = torch.cat([best[:, None, :3].expand(-1, 9, -1), around], dim=2).flatten(0, 1)
        rows = rows[(rows[:, 3:] >= 0).all(1) & (rows[:, 3:] < 32).all(1)]
        scores = overlap(frame, grid.images(rows)[:, 0])
        found.append((float(scores.max()), rows[scores.argmax()].tolist()))
    scores, rows = zip(*found, strict=True)
    return np.array(scores), np.array(rows)


def test_genuine_frames_are_in_the_grid(reference_data, grid):
    with np.load(reference_data / "dsprites_frames.npz", allow_pickle=False) as stored:
        frames = torch.from_numpy(stored["frames"]).float()
    scores, rows = nearest_members(frames, grid)
    assert scores.mean() >= 0.999
    assert scores.min() >= 0.98
    assert scores[rows[:, 0] == 0].mean() >= 0.999
    # The frames traverse one factor at a time; a heart shows which way each of them goes.
    assert np.bincount(rows[:, 0]).tolist() == [32, 32, 96]
    assert rows[:10, 1].tolist() == [0, 2, 4, 5, 3, 1, 0, 2, 4, 5]
    assert rows[10:28, 2].tolist() == list(range(2, 38, 2))
    assert rows[30:46, 4].tolist() == [*range(2, 32, 2), 31]
    assert rows[46:62, 3].tolist() == [*range(2, 32, 2), 31]


# The grid


def test_factors_are_those_of_the_published_set(grid):
    assert len(grid) == 737_280
    assert grid.factor_sizes == SIZES
    assert grid.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    shape, scale, orientation, x, y = grid.factor_values
    assert shape.tolist() == [1, 2, 3]
    np.testing.assert_allclose(scale, [0.5, 0.6, 0.7, 0.8, 0.9, 1])
    np.testing.assert_allclose(orientation, 2 * np.pi * np.arange(40) / 39)
    np.testing.assert_allclose(x, np.arange(32) / 31)
    np.testing.assert_allclose(y, np.arange(32) / 31)
    assert "737280 images 1×64×64" in repr(grid)
    assert grid.binarization == "none"


def test_indices_run_over_the_grid_with_pos_y_fastest(grid):
    indices = np.random.default_rng(0).integers(0, len(grid), 500)
    expected = np.stack(np.unravel_index(indices, SIZES), axis=1)
    assert np.array_equal(grid.factors(indices), expected)
    assert np.array_equal(grid.factors(slice(737_278, None))[:, 4], [30, 31])
    assert torch.equal(grid.batch(indices[:20]), grid.images(expected[:20]))
    assert grid.factors([]).shape == (0, 5)


def test_samples_are_uniform_and_reproducible(grid):
    images, rows = grid.sample(200, torch.Generator().manual_seed(1))
    assert torch.equal(images, grid.images(rows))
    assert torch.equal(images, grid.tensor(200, torch.Generator().manual_seed(1)))
    small = data.sprites(8)
    rows = small.sample(40_000, torch.Generator().manual_seed(0))[1]
    for column, size in zip(rows.T, SIZES, strict=True):
        counts, expected = column.bincount(minlength=size), 40_000 / size
        assert ((counts - expected) ** 2 / expected).sum() < size - 1 + 5 * math.sqrt(2 * size)


def test_the_grid_is_a_torch_data_set(grid):
    order = [5, 700_000, 3]
    loader = DataLoader(grid, batch_size=3, sampler=order)
    assert torch.equal(next(iter(loader)), grid.batch(order))
    assert torch.equal(grid[5], grid.batch([5])[0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 0, 0, 0, 0], r"shape \(B, 5\).*got torch.int64 of shape \(5,\)"),
        ([[0, 0, 0, 0]], r"of shape \(1, 4\)"),
        (np.zeros((2, 6), int), r"of shape \(2, 6\)"),
        ([[0.0, 0, 0, 0, 0]], "float64"),
        (np.zeros((1, 5), bool), "bool"),
        (torch.zeros(1, 5), "float32"),
        ([["a"] * 5], "expected integer classes"),
        ([[0] * 5, [0] * 4], "expected integer classes"),
        ([[0] * 5, [3, 0, 0, 0, 0]], r"expected shape in 0\.\.2, got 3 in row 1"),
        ([[0, 6, 0, 0, 0]], r"expected scale in 0\.\.5, got 6"),
        ([[0, 0, 40, 0, 0]], r"expected orientation in 0\.\.39"),
        ([[0, 0, 0, -1, 0]], r"expected posX in 0\.\.31, got -1"),
        (np.array([[0, 0, 0, 0, 32]], np.uint8), r"expected posY in 0\.\.31, got 32"),
    ],
)
def test_bad_factor_rows_are_refused(grid, rows, message):
    with pytest.raises(ValueError, match=message):
        grid.images(rows)


def test_other_bad_requests_are_refused(grid):
    for size in (7, 1025, 64.0, True, "64"):
        with pytest.raises(ValueError, match="integer size from 8 to 1024"):
            data.sprites(size)
    with pytest.raises(ValueError, match=r"indices in 0\.\.737279, got 737280"):
        grid.factors([0, 737_280])
    with pytest.raises(ValueError, match="got -1"):
        grid.batch([-1])
    with pytest.raises(ValueError, match="integer indices"):
        grid.factors([0.5])
    for n in (0, 2.5, True, None):
        with pytest.raises(ValueError, match=f"at least 1 image, got {n}"):
            grid.sample(n)


# The published file


class Trap:
    """Raises when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("the metadata was unpickled",))


def file_arrays(count=50):
    random = np.random.default_rng(0)
    index = random.choice(737_280, count, replace=False)
    classes = np.stack([np.zeros(count, int), *np.unravel_index(index, SIZES)], axis=1)
    values = np.stack(
        [
            np.ones(count),
            classes[:, 1] + 1.0,
            0.5 + 0.1 * classes[:, 2],
            2 * np.pi * classes[:, 3] / 39,
            classes[:, 4] / 31,
            classes[:, 5] / 31,
        ],
        axis=1,
    )
    images = random.integers(0, 2, (count, 64, 64), dtype=np.uint8)
    return {"imgs": images, "latents_classes": classes, "latents_values": values}


def write_file(path, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            np.save(stream := io.BytesIO(), array)
            archive.writestr(f"{name}.npy", stream.getvalue())
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"shape": (), "fortran_order": False, "descr": "|O"}
        )
        archive.writestr("metadata.npy", header.getvalue() + pickle.dumps(Trap()))
    return path


def test_the_published_file_is_read_without_its_pickle(tmp_path):
    arrays = file_arrays()
    stored = data.Sprites.from_npz(write_file(tmp_path / "dsprites.npz", arrays))
    assert len(stored) == 50
    assert stored.size == 64
    rows = arrays["latents_classes"][:, 1:]
    assert np.array_equal(stored.factors(range(50)), rows)
    assert np.array_equal(stored.images(rows)[:, 0], arrays["imgs"])
    assert np.array_equal(stored.batch([7, 3])[:, 0], arrays["imgs"][[7, 3]])
    images, drawn = stored.sample(20, torch.Generator().manual_seed(0))
    assert torch.equal(images, stored.images(drawn))
    absent = next(
        row for row in itertools.product(*map(range, SIZES)) if row not in set(map(tuple, rows))
    )
    with pytest.raises(ValueError, match="classes of images in the file"):
        stored.images([absent])
    with pytest.raises(ValueError, match=r"indices in 0\.\.49"):
        stored.batch([50])


def test_a_file_with_odd_image_sizes_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ppl_gen.data.sprite_file.BLOCK", 7)
    arrays = file_arrays()
    arrays["imgs"] = arrays["imgs"][:, :9, :9]
    stored = data.Sprites.from_npz(write_file(tmp_path / "dsprites.npz", arrays))
    assert np.array_equal(stored.batch(range(50))[:, 0], arrays["imgs"])


def changed(name, change):
    def damage(arrays):
        arrays[name] = change(arrays[name])

    return damage


def shifted(values):
    values[3, 4] += 0.01
    return values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda arrays: arrays.pop("imgs"), r"imgs\.npy"),
        (lambda arrays: arrays.pop("latents_classes"), "latents_classes"),
        (lambda arrays: arrays.pop("latents_values"), "latents_values"),
        (changed("imgs", lambda a: a.astype(float)), "imgs as uint8 .*float64"),
        (changed("imgs", lambda a: a[:-1]), r"imgs as uint8 of shape \(50, size, size\)"),
        (changed("imgs", lambda a: a[:, :, :-1]), "size, size"),
        (changed("imgs", lambda a: a * 2), "pixels 0 or 1 in imgs, got 2"),
        (changed("imgs", np.asfortranarray), "imgs as uint8"),
        (changed("latents_classes", lambda a: a[:, 1:]), "latents_classes as integers"),
        (changed("latents_classes", lambda a: a.astype(float)), "latents_classes as integers"),
        (changed("latents_classes", lambda a: a + 1), r"expected \w+ in 0\.\."),
        (changed("latents_classes", lambda a: a * 0 + a[:1]), "latents_values of"),
        (changed("latents_values", lambda a: a[:, 1:]), "latents_values as floats"),
        (changed("latents_values", shifted), "latents_values of posX among"),
        (changed("latents_values", lambda a: a * np.nan), "latents_values of shape"),
        (changed("latents_classes", lambda a: np.array([Trap()])), "Object arrays cannot"),
    ],
)
def test_bad_files_are_refused(tmp_path, damage, message):
    arrays = file_arrays()
    damage(arrays)
    with pytest.raises(ValueError, match=message):
        data.Sprites.from_npz(write_file(tmp_path / "bad.npz", arrays))


def test_duplicated_truncated_and_missing_files_are_refused(tmp_path):
    arrays = {name: np.repeat(array, 2, axis=0) for name, array in file_arrays().items()}
    path = write_file(tmp_path / "bad.npz", arrays)
    with pytest.raises(ValueError, match="duplicates"):
        data.Sprites.from_npz(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"dSprites \.npz file.*bad\.npz"):
        data.Sprites.from_npz(path)
    with pytest.raises(ValueError, match="No such file"):
        data.Sprites.from_npz(tmp_path / "absent.npz")
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in file_arrays().items():
            np.save(stream := io.BytesIO(), array)
            cut = 10_000 if name == "imgs" else None
            archive.writestr(f"{name}.npy", stream.getvalue()[:cut])
    with pytest.raises(ValueError, match="truncated"):
        data.Sprites.from_npz(path)
