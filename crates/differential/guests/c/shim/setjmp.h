/* There is none: what would jump ends the program. */
