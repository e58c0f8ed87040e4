"""Text to speech: English voices.

g2p_model           Pronunciation of unknown words: g2p_en's recurrent network (Apache-2.0), run with numpy
kokoro              The adapter: Kokoro-82M on onnxruntime
lexicon             English words to phonemes: misaki's dictionaries, regular endings, and `g2p_model`
markup              Markdown and HTML to the text that a reader sees
number_rules        How numbers in a text are read: dates, times, money, units, fractions, ...
number_words        Numbers as English words
text_normalization  Text to the words that are read aloud, with punctuation, sentence by sentence
units               Units and currencies, and how amounts of them are read
"""
