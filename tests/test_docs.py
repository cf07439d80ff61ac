"""The pages and the API reference hold together."""

import html.parser
import re
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


class Links(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.targets, self.names = [], set()

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag == "a" and "href" in attrs:
      self.targets.append(attrs["href"])
    if "id" in attrs:
      self.names.add(attrs["id"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_of_a_page_lead_somewhere(page):
  # Code has brackets, too: `FAMILIES["eat"](size="large")` is no link.
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
  for link in re.findall(r"\]\(([^)\s]+)\)", text):
    if not re.match(r"[a-z]+:", link):
      assert (page.parent / link.split("#")[0]).exists(), link


def test_every_cited_work_is_listed():
  listed = set(
    re.findall(
      r"^\| (\[\w+\])", (ROOT / "docs/references.md").read_text(), re.M
    )
  )
  sources = [
    *(ROOT / "asd_jax").rglob("*.py"),
    *(ROOT / "configs").glob("*.py"),
  ]
  for path in sources:
    cited = set(re.findall(r"\[[A-Z][A-Za-z]+\d{2}[a-z]*\]", path.read_text()))
    assert cited <= listed, (path, cited - listed)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_api_reference_builds_without_broken_links(tmp_path):
  import pdoc

  # Sources hold no links, and colouring them is most of the time.
  pdoc.render.configure(docformat="google", show_source=False, search=False)
  pdoc.pdoc("asd_jax", output_directory=tmp_path)
  pages = {}
  for path in tmp_path.rglob("*.html"):
    pages[path] = Links()
    pages[path].feed(path.read_text())
  assert len(pages) > 30
  for path, links in pages.items():
    for target in links.targets:
      if re.match(r"[a-z]+:", target):
        continue
      file, _, name = target.partition("#")
      to = (path.parent / urllib.parse.unquote(file)).resolve()
      to = path if not file else to
      assert to in pages, (path.name, target)
      if name:
        assert name in pages[to].names, (path.name, target)
