"""For those who maintain the course: recording run, benchmark, site, slides. Notebooks never import it."""
