"""For those who maintain the course: the recording run, the benchmark, the site. Notebooks never import it."""
