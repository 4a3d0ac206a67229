CREATE TABLE adaptations (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	model_version INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "adaptations" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaa','point',1,2,100.0,1000000000000.0);
CREATE TABLE members (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	adaptation VARCHAR NOT NULL, 
	since INTEGER NOT NULL, 
	role VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	FOREIGN KEY(adaptation) REFERENCES adaptations (id) ON DELETE CASCADE
);
INSERT INTO "members" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaa',1,'demo','DIGEST1');
INSERT INTO "members" VALUES(2,'aaaaaaaaaaaaaaaaaaaaaaaa',2,'trial','DIGEST2');
CREATE TABLE models (
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	bundle VARCHAR NOT NULL, 
	registered_at FLOAT NOT NULL, 
	PRIMARY KEY (name, version), 
	UNIQUE (name, bundle)
);
INSERT INTO "models" VALUES('point',1,'bundle',100.0);
CREATE TABLE recordings (
	id VARCHAR NOT NULL, 
	adaptation VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	explore BOOLEAN NOT NULL, 
	hypothesis INTEGER NOT NULL, 
	finished_as INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(adaptation) REFERENCES adaptations (id) ON DELETE CASCADE
);
INSERT INTO "recordings" VALUES('bbbbbbbbbbbbbbbbbbbbbbbb','aaaaaaaaaaaaaaaaaaaaaaaa',1,1,1,NULL);
CREATE TABLE requests (
	"key" VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	adaptation VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	recording VARCHAR, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(adaptation) REFERENCES adaptations (id) ON DELETE CASCADE
);
INSERT INTO "requests" VALUES('key','print','aaaaaaaaaaaaaaaaaaaaaaaa',2,NULL);
CREATE TABLE versions (
	adaptation VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	n_demos INTEGER NOT NULL, 
	n_trials INTEGER NOT NULL, 
	scored BOOLEAN NOT NULL, 
	UNIQUE (adaptation, version), 
	FOREIGN KEY(adaptation) REFERENCES adaptations (id) ON DELETE CASCADE
);
INSERT INTO "versions" VALUES('aaaaaaaaaaaaaaaaaaaaaaaa',1,1,0,0);
INSERT INTO "versions" VALUES('aaaaaaaaaaaaaaaaaaaaaaaa',2,1,1,1);
CREATE INDEX ix_adaptations_expires_at ON adaptations (expires_at);
CREATE INDEX members_of_version ON members (adaptation, since);
CREATE INDEX ix_members_digest ON members (digest);
CREATE INDEX recordings_of_adaptation ON recordings (adaptation);
CREATE INDEX requests_of_adaptation ON requests (adaptation);
