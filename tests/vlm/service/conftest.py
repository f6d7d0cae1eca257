"""The engines that the tests of the service run over."""

from collections.abc import Iterator

import pytest

from tests.vlm.service.slurm_cluster import SlurmCluster, unavailable


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A cluster of this machine; skipped where Slurm cannot be had."""
    if reason := unavailable():
        pytest.skip(reason)
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.close()


@pytest.fixture(params=["local", "slurm"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine by name, ready to be used."""
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    return str(request.param)


@pytest.fixture
def cluster(engine: str, request: pytest.FixtureRequest) -> SlurmCluster | None:
    """The cluster of the slurm engine."""
    return request.getfixturevalue("slurm") if engine == "slurm" else None
