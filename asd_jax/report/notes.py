"""What was odd about the input."""

from asd_jax.report import record, text

TITLE = "Notes"
# A folder of odd files can bring one note a clip.
MAX_NOTES = 200


def section(run: record.Run) -> str:
  """Every note, up to a number that a page can hold.

  Args:
    run: the run.

  Returns:
    HTML.
  """
  found = run.results["notes"]
  lines = "".join(f"<li>{text.escape(n)}</li>" for n in found[:MAX_NOTES])
  body = f'<ul class="notes">{lines}</ul>' if found else "<p>Nothing odd.</p>"
  if len(found) > MAX_NOTES:
    body += (
      f"<p>{len(found) - MAX_NOTES} more are in <code>results.json</code>.</p>"
    )
  return f'<section id="notes"><h2>Notes on the input</h2>{body}</section>'
