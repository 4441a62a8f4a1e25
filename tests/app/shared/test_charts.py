"""Charts say where states lie on every map of their cloud, each as that map does alone."""

import dataclasses

import numpy as np
import pytest

from app.shared.charts import Charts
from app.shared.encoding import packed_int16


@pytest.mark.parametrize("alike", [True, False])
def test_states_are_placed_as_each_map_places_them(model, golden_cloud, alike):
    cloud = golden_cloud
    if not alike:
        fewer = dataclasses.replace(
            cloud.umaps[3], states=cloud.umaps[3].states[::2], embedding=cloud.umaps[3].embedding[::2]
        )
        cloud = dataclasses.replace(cloud, umaps={**cloud.umaps, 3: fewer})
    charts = Charts(model, cloud)
    points = np.random.default_rng(0).normal(size=(5, cloud.latents.shape[1])).astype(np.float32)
    maps = {"pca": cloud.pca, "umap2": cloud.umaps[2], "umap3": cloud.umaps[3]}
    assert charts.coordinates(points) == {
        name: packed_int16(each.place(points), charts.units[name]) for name, each in maps.items()
    }
