select count(*) as payments, sum(amount) as amount from payments
