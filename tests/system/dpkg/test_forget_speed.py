"""A forget in a large database costs little more than a durable copy of it."""

import bench_forget


def test_one_package_of_three_thousand():
    assert bench_forget.main()
