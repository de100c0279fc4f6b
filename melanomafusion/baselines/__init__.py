"""What a network has to beat: an SVM on handcrafted features, and metadata alone."""
