functions: object
