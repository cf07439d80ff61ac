"""How good scores are, and how sure one can be of it.

`official` has the challenge's numbers, exact, on the host; `device` the ranked
ones inside compiled programs, where a sweep wants thousands. A number alone
settles little: `uncertainty` says how far other test clips or seeds would move
it, `paired` and `paired_clips` whether two systems differ by more than that,
`choice` what is left of the best of many settings.
"""
