"""What expressions evaluate to: types, values, how one becomes the other, JSON."""
