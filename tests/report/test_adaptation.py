"""What the page says of adapted encoders."""

from types import SimpleNamespace

from asd_jax.report import adaptation


def test_classes_and_shares_of_an_adapted_encoder_are_told():
  classes = [
    dict(name="fan/<3>", machines=["fan"], source=2, target=1, unknown=0),
    dict(name=None, machines=["valve"], source=4, target=0, unknown=0),
  ]
  facts = dict(
    trains="lora",
    num_clips=7,
    machines=["fan", "valve"],
    near_share={"valve": 0.5, "fan": 0.7311},
    classes=[classes],
  )
  results = {"encoders": {"adapted": {"beats": facts}}}
  page = adaptation.section(SimpleNamespace(results=results))
  assert "near and far: fan 0.73, valve 0.50." in page
  assert "1 class of training clips" in page
  assert "fan/&lt;3&gt;" in page
  assert "<3>" not in page
  del facts["near_share"]
  page = adaptation.section(SimpleNamespace(results=results))
  assert "near and far" not in page
  assert adaptation.section(SimpleNamespace(results={})) == ""
