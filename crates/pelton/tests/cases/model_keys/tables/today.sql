select customer_id, timestamp '2026-02-01T00:00:00Z' as at, tenure, noise from customers
