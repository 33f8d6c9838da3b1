"""Who may read and write over the web server: the check at its doors, logins, and forms that write."""
