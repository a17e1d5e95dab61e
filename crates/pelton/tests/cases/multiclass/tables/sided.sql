select * from predict(side, points)
