select payment_id, score from predict(fraud, clean) where score > 0.9
