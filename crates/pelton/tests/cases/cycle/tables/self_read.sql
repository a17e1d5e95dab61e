select self_read.x from self_read
