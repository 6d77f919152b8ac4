"""Make a cluster exist: doctor, engine, sources, images, kind."""
