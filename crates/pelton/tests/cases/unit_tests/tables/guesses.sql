select order_id, prediction from predict(heavy, light)
