"""The gallery: what the field proposes beside LA-LoRA, each as a value that the same loop runs, in a private form.

One small file a method; its row of words is its `about`, and `methods/README.md` is held to them. `GALLERY` is the
whole list. Read `ffa_qr` first. Imports what a method imports: base, tasks, engine, and the room's own files.
"""

from __future__ import annotations

from lalora_kit.methods.gallery.deer import DEER
from lalora_kit.methods.gallery.fair import LORA_FAIR
from lalora_kit.methods.gallery.fed_sb import FED_SB
from lalora_kit.methods.gallery.fedask import FEDASK
from lalora_kit.methods.gallery.fedex import FEDEX
from lalora_kit.methods.gallery.fedsa import FEDSA, FEDSA_HEAD
from lalora_kit.methods.gallery.fedsvd import FEDSVD
from lalora_kit.methods.gallery.ffa_qr import FFA_LORA_QR
from lalora_kit.methods.gallery.flexlora import FLEXLORA, FLEXLORA_UNEQUAL
from lalora_kit.methods.gallery.flora import FLORA, FLORA_UNEQUAL
from lalora_kit.methods.gallery.galore import DENSE_MEAN, GALORE_MEAN
from lalora_kit.methods.gallery.gauge import LA_LORA_GAUGE
from lalora_kit.methods.gallery.rac import RAC_LORA
from lalora_kit.methods.method import Method

GALLERY: dict[str, Method] = {
    method.name: method
    for method in (
        *(FFA_LORA_QR, FEDSVD, LA_LORA_GAUGE, FLORA, FLORA_UNEQUAL, FLEXLORA, FLEXLORA_UNEQUAL, FEDEX),
        *(LORA_FAIR, FEDSA, FEDSA_HEAD, RAC_LORA, FED_SB, FEDASK, DEER, GALORE_MEAN, DENSE_MEAN),
    )
}
