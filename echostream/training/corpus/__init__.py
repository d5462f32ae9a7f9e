"""Corpora: what a folder of recordings and texts holds, and other projects' ways to say the same.

    manifest            our own table, `ManifestRow`: the form in the middle
    split, clip         which part a text belongs to; a recording before it is converted
    conversion          samples to 16 kHz FLAC, several at once
    utterances          what training reads: our manifests, fairseq's and StreamSpeech's tables
    importing           other projects' recordings into a folder of our own, by the readers
                        `published` (CoVoST 2, CVSS-C, MuST-C), `lhotse_cuts`, `speech_tables`
    opus_copy, stored_features    a corpus as Ogg Opus, to carry; as frames, for a GPU

A reader honours what its table says of a recording, or refuses it by the field's name.
"""
