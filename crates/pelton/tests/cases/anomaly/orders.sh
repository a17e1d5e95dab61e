# orders.sh ROWS AMOUNT COUPON: ROWS orders of about AMOUNT
mkdir -p data
echo "order_id,amount,coupon,settled" > data/orders.csv
seq 1 "$1" | awk -v amount="$2" -v coupon="$3" '{ print $1 "," amount + $1 % 5 "," coupon $1 % 4 "," ($1 % 2 ? "true" : "false") }' >> data/orders.csv
