module isbn

go 1.21
