"""The report of a run: one self-contained HTML page."""

from asd_jax.report import (
  adaptation,
  clips,
  curves,
  decisions,
  denoise,
  facts,
  listing,
  machines,
  notes,
  record,
  seeds,
  strips,
  summary,
  text,
)

# The page from top to bottom. A section is a module with a `TITLE`, for the
# links at the top, and `section(run)`, which returns `<section id=...>` or ""
# where the run has nothing to show: a new one is a file and a line here.
SECTIONS = (
  machines, decisions, strips, listing, clips, curves, denoise, seeds,
  adaptation, notes, facts,
)  # fmt: skip


def page(run: record.Run) -> str:
  """Makes the page.

  Args:
    run: the run.

  Returns:
    HTML of at most 10 MB that needs nothing else.
  """
  results = run.results
  name = text.escape(results["system"])
  made = [(module.TITLE, module.section(run)) for module in SECTIONS]
  present = [(title, body) for title, body in made if body]
  # A section's own id, its first quoted word, is where its link goes.
  links = "".join(
    f'<li><a href="#{body.split(chr(34), 2)[1]}">{title}</a></li>'
    for title, body in present
  )
  bodies = "\n".join(body for _, body in present)
  num_machines = text.plural(len(results["machines"]), "machine")
  return text.page(
    f"{name}: anomalous sound detection report",
    '<a class="skip" href="#main">Skip to the results</a>\n'
    f'<header><span class="soft">Anomalous sound detection report</span>'
    f'<h1>{name}</h1><span class="soft">{num_machines},'
    f" {text.plural(run.num_clips, 'test clip')}</span>"
    f'<nav aria-label="On this page"><ul>{links}</ul></nav></header>\n'
    f'<main id="main" tabindex="-1">{text.warning(results)}'
    f"{decisions.warning(results)}"
    '<h2 class="sr">Summary</h2>'
    f"{summary.summary(results)}\n{bodies}\n</main>",
  )
