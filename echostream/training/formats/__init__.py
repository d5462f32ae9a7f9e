"""Other projects' data: their manifests read and written, their corpora's folders read.

`manifest.ManifestRow` of the recipes is the form in the middle; each module knows one other form:

    fairseq_s2t        fairseq's speech-to-text tables
    streamspeech       StreamSpeech's tables and those of its auxiliary tasks
    simuleval_lists    SimulEval's lists of recordings and references
    lhotse_cuts        lhotse's cuts as JSON lines
    folders            the folders of CoVoST 2, CVSS-C and MuST-C
"""

from __future__ import annotations
