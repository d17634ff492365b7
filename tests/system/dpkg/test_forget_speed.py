"""A forget in a large database costs little more than a durable copy of it."""

import bench_forget


def test_one_package_of_three_thousand(roots):
    """`roots` because its mounts end with the tests, however those end."""
    assert bench_forget.main()
