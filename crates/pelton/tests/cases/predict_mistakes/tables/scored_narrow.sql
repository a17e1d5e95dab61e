select id, score
from predict(over, narrow)
