select id, prediction, score from predict(over, whole)
