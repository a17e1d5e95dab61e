select id, prediction, score, probabilities from predict(size, points)
