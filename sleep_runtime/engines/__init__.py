"""What distils and compares: without a writing model, or with one."""
