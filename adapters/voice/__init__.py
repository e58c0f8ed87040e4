"""Text to speech: English voices.

g2p_model           Pronunciation of unknown words: g2p_en's recurrent network (Apache-2.0), run with numpy
kokoro              The adapter: Kokoro-82M on onnxruntime
lexicon             English words to phonemes: misaki's dictionaries, regular endings, and `g2p_model`
number_words        Numbers as English words
text_normalization  Text to the words that are read aloud, with punctuation, sentence by sentence
"""
