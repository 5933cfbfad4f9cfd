"""Vision-language-action policies behind one small interface (`policies.interface`)."""
