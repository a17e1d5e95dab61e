select id, attrs, attrs['first name'] as first_name from people where attrs['size, cm'] > 150
