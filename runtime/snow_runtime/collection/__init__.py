"""Pictures kept from cameras, with features, answers and labels, in one folder."""
