import pytest

from tests.cases import of_item


@pytest.fixture
def cases(golden):
  return lambda item: of_item(golden("backends"), item)
