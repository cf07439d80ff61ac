"""MD5 sums of archives, as other projects found them: a hint, no authority."""

import hashlib
import pathlib
from collections.abc import Sequence

from asd_jax import errors
from asd_jax.data import folders

KNOWN = {
  "FSD50K.dev_audio.z01": "faa7cf4cc076fc34a44a479a5ed862a3",
  "FSD50K.dev_audio.z02": "8f9b66153e68571164fb1315d00bc7bc",
  "FSD50K.dev_audio.z03": "1196ef47d267a993d30fa98af54b7159",
  "FSD50K.dev_audio.z04": "d088ac4e11ba53daf9f7574c11cccac9",
  "FSD50K.dev_audio.z05": "81356521aa159accd3c35de22da28c7f",
  "FSD50K.dev_audio.zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
  "FSD50K.eval_audio.z01": "3090670eaeecc013ca1ff84fe4442aeb",
  "FSD50K.eval_audio.zip": "6fa47636c3a3ad5c7dfeba99f2637982",
  "FSD50K.ground_truth.zip": "ca27382c195e37d2269c4c866dd73485",
  "FSD50K.metadata.zip": "b9ea0c829a411c1d42adb9da539ed237",
  "FSD50K.doc.zip": "3516162b82dc2945d3e7feba0904e800",
  "DKITCHEN_16k.zip": "7ffbf52d7f4699f96927846103dc8788",
  "DLIVING_16k.zip": "46741384d9e434a0bd8b3ec1830b6052",
  "DWASHING_16k.zip": "7e5ee9437ce9409c5f9a779b6212a240",
  "NFIELD_16k.zip": "a740046c6f4e174e16f5d568aaec5024",
  "NPARK_16k.zip": "80f1385a34d7f1705758926b57f138ce",
  "NRIVER_16k.zip": "54264db61d3fe073fb81f2e40e0d19b5",
  "OHALLWAY_16k.zip": "fe918bbb0e63e73d09ba7f4843ef33f1",
  "OMEETING_16k.zip": "62f7cfe7fe6d30b7d8a215fe37c2dfd2",
  "OOFFICE_16k.zip": "7b61cc2d182d5a654cb9c3101ddd4041",
  "PCAFETER_16k.zip": "99927d148128254141a9417d051510bb",
  "PRESTO_16k.zip": "b98d2e6854eeebb397f29a8ad7457092",
  "PSTATION_16k.zip": "d7448009f6c2aeb6ba570375df1750a3",
  "SPSQUARE_16k.zip": "205d0e7b8fe74504a2f8d252fc414b9e",
  "STRAFFIC_16k.zip": "2efa87262f272bbf9ba578088e81939c",
  "TBUS_16k.zip": "706b11b0d8504f9f3b3f3211e91b3863",
  "TCAR_16k.zip": "4d930012796bd298932245a26189f973",
  "TMETRO_16k.zip": "95daf4df678e13b120e14211e6d89571",
  "DKITCHEN_48k.zip": "b4d38241fbd50d8a17f8742ca6870c10",
  "DWASHING_48k.zip": "ecf765f12b8d3ada7ef0ec664b8f8d73",
  "OOFFICE_48k.zip": "6f87edf8a6b03f17b3f693af1754aab4",
}
_KNOWN = {name.casefold(): md5 for name, md5 in KNOWN.items()}


def remarks(root: pathlib.Path, archives: Sequence[str]) -> tuple[str, ...]:
  """Compares archives with what others found.

  Args:
    root: folder above them.
    archives: their names.

  Returns:
    A sentence for each that differs, and one on those that nobody knows.

  Raises:
    InputError: one cannot be read.
  """
  result = []
  unknown = []
  for folder in folders.walk(root, skipped=("__MACOSX",)):
    for path in sorted(folder.iterdir()):
      if path.name not in archives or not path.is_file():
        continue
      expected = _KNOWN.get(path.name.casefold())
      if expected is None:
        unknown.append(path.name)
      elif (found := _md5(path)) != expected:
        result.append(
          f"{path.name}: found MD5 {found}, expected {expected} as others did"
        )
  if unknown:
    result.append(f"MD5 of {', '.join(unknown)} is not known: not compared")
  return tuple(result)


def _md5(path: pathlib.Path) -> str:
  try:
    with open(path, "rb") as file:
      digest = hashlib.file_digest(
        file, lambda: hashlib.md5(usedforsecurity=False)
      )
  except OSError as error:
    raise errors.InputError(
      f"{path}: cannot be read ({error.strerror or error}), expected an archive"
    ) from error
  return digest.hexdigest()
