select customer_id from churn_labels
