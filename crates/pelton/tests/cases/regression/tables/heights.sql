select id, prediction from predict(height, points)
