"""Reading intents from utterances: a linear model over the encoder's embedding and hashed letters."""
