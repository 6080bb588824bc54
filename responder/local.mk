# responder
